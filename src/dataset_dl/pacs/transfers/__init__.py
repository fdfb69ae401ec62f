"""Transfers as jobs: a job has tasks, a task has instances; workers on one machine or several do them."""
