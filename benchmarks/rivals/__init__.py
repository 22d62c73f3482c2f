"""What the rasterizer is compared with: each library draws the same windows, each in its plain and in its best way."""
