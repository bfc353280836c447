"""A live kernel: found, started below a guard, talked to, interrupted, stopped; and what each does unlike others."""
