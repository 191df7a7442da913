"""The command line: `edittheory list | run | figure | verify | log | language`."""
