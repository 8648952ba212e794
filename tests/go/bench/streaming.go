package main

func streaming(b *bench) error { return nil }
