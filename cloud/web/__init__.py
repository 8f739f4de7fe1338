"""What people and other programs see of the gateway: a documented API and a live console."""
