"""Tests of schedules: a package, so that the server which they share ends with the last of them (scope `package`)."""
