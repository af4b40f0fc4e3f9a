"""Measures of models and of samples: functions over tensors."""
