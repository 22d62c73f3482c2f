"""Windows of incidents to map tensors: geometry, basemap, styles, and the Rasterizer that calls the kernels."""
