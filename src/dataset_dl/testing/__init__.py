"""For offline tests: a local IDC bucket, and the S3 server behind it."""

from dataset_dl.testing.bucket import LocalBucket, serve_rclone

__all__ = ["LocalBucket", "serve_rclone"]
