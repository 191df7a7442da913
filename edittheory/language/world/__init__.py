"""The world it lives in: tasks, documents, editors and the logs they leave."""
