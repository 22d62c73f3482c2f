"""What a forecast is measured with: baselines, protocol and metrics, as pure functions of arrays."""
