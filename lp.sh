#!/bin/bash
export OMP_NUM_THREADS=1 PYTHONPATH=/work/w/forms/models:/work/w/forms
cd /tmp && exec /work/main/.venv/bin/python -P -m lpdif_cli reconstruct "$1" -o "$2" --overwrite --threads 1 -q ${LP_ARGS:-}
