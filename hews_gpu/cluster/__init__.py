"""Submitting to SLURM and following what was submitted: `hews submit`, `status`, `cancel`, `sweep`; Dask workers.

The jobs themselves are the plain files of the folder slurm/ (`hews_gpu/slurm` is a link to it, so that an installed
package has them): nothing here runs inside of one but `sweep`, `bench` and `dask_workers`.
"""
