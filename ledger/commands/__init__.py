"""The commands of the command line, a module for each thing people come to do."""
