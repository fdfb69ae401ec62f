#!/bin/bash
#SBATCH --job-name={{name}}
#SBATCH --array=1-{{parts}}%{{at_once}}
#SBATCH --ntasks=1 --cpus-per-task={{cpus}}
#SBATCH --time={{time_limit}}
#SBATCH --signal=B:TERM@{{grace_seconds}}
#SBATCH --requeue --open-mode=append
#SBATCH --output="{{logs}}/%A_%a.log"

# One part of the plan for each task of the array. --take-over: Slurm runs a task once at a time, so an earlier
# attempt at this part is dead, or cut off.
{{command}} --part "$SLURM_ARRAY_TASK_ID/{{parts}}" --take-over &
part=$!
# Slurm sends SIGTERM before the time is over; the part then ends gently, and goes on elsewhere.
trap 'kill -TERM "$part" 2>/dev/null' TERM
wait "$part"; code=$?
while kill -0 "$part" 2>/dev/null; do wait "$part"; code=$?; done

# 0: done. 1, 2, 5: a person has to look first. Others (3, 4, 130, killed) go on when the part runs again, unless it
# was cancelled: then it is no longer RUNNING.
task="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
case $code in 0|1|2|5) exit $code ;; esac
if [ "${SLURM_RESTART_COUNT:-0}" -lt {{restarts}} ] && [ "$(squeue -h -j "$task" -o %T)" = RUNNING ]; then
    scontrol requeue "$task"
fi
exit $code
