"""The model server: MLflow's REST in front of the models room."""
