"""The ground: knows geometry and PostgreSQL, nothing of cities."""
