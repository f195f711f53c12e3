"""The command line. Everything that ringmill serves can be started, checked and fed from here."""
