"""What the ledger does on this machine, each figure beside a limit measured in the same run."""
