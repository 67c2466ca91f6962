"""What is kept in the store, and for how long: the rules of app.domain.retention, carried out."""
