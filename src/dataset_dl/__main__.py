"""Run the command line: ``python -m dataset_dl`` is ``dataset-dl``."""

from dataset_dl.cli import main

if __name__ == "__main__":
    main()
