"""What is made from the code: each module offers `files()`, paths under the repository with their text."""
