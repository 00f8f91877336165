"""How a run is carried out: built, started, measured, stopped, resumed."""
