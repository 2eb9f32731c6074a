"""The log in other people's formats. docs/exports.md says what each shows and what it does not."""
