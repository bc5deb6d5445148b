"""Torture: rcutorture for the flavours of RCU, and locktorture for every lock."""
