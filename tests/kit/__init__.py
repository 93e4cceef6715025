"""What tests share: zoos and the real doit, a loopback Hub, stages in this process, refusals."""
