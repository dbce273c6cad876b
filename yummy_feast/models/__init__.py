"""Models saved as MLmodel folders: what is in one, what its signature wants, and scorers for LightGBM and CatBoost.

Nothing here knows HTTP or MLflow: ``loading.load_model`` turns a folder into a ``Model``, whose ``arranger`` makes rows
of whatever callers hold and whose ``scorer`` scores them.
"""
