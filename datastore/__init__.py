"""Where facts come from: etcd v3 and an embedded store for one machine, behind one small interface."""
