"""What every service needs beside its work: logs, metrics, health, time, ownership and stopping."""
