"""Small clusters on one machine: topologies, the harness that puts them up, and what measures and shows their packets."""
