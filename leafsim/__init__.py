"""leafsim"""
