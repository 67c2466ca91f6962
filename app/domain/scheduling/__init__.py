"""Which unit is rendered next, and where: pure rules, told the time and what is going on."""
