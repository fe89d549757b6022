//go:build !race

package artifact_test

const raceFactor = 1
