"""The commands of `sugarbush`, one file each."""
