"""Wing: thumbnails of every frame, and a database of them: pictures, failures, labels and splits."""
