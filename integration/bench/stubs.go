package main

import "context"

func applications(ctx context.Context, b *bench, s *section) error { return nil }
func jobs(ctx context.Context, b *bench, s *section) error         { return nil }
func starts(ctx context.Context, b *bench, s *section) error       { return nil }
func growth(ctx context.Context, b *bench, s *section) error       { return nil }

type plot struct{ title, file string }

func (p *plot) svg() []byte { return nil }
