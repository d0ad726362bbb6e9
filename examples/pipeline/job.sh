#!/bin/sh
#SBATCH --job-name=paper
python prep.py && python train.py --kwargs lr=0.1
