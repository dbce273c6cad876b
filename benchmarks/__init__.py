"""What this project claims about speed and memory, runnable beside what it is compared with."""
