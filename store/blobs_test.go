package store_test

import (
	"testing"

	"stasis/store"
	"stasis/store/storetest"
)

func TestDrivers(t *testing.T) {
	for _, driver := range []string{store.DriverBadger, store.DriverFiles} {
		t.Run(driver, func(t *testing.T) {
			storetest.Run(t, func(o store.Options) (*store.Store, error) {
				o.Archives = driver
				return store.Open(t.Context(), o)
			})
		})
	}
}
