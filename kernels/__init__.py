"""Numeric kernels: scalar functions shared by every compiler, CPU loops over them, and a NumPy reference beside them.

Import as `hews_gpu.kernels`. Only NumPy and the compiler that `_shim` names are used here; whoever calls a kernel has
checked shapes, dtypes and index ranges before (`hews_gpu.raster.rasterizer` does).
"""
