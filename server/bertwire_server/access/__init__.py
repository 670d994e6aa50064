"""Authentication, authorization and limits of clients and connections."""
