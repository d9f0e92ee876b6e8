"""What people say the pictures show: which are drawn, the page on which they are labelled, and reading the labels back."""
