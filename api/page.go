package api

// page is a part of a list.
type page struct {
	items any
	Pagination
}

const (
	perPage    = 20
	maxPerPage = 500
	maxPage    = 1 << 30
)

// paged returns the part of all that the parameters page and per_page of the request ask for.
func paged[T any](c *call, all []T) (page, error) {
	q := c.r.URL.Query()
	which, err := number(q, "page", 1, maxPage)
	if err != nil {
		return page{}, err
	}
	size, err := number(q, "per_page", perPage, maxPerPage)
	if err != nil {
		return page{}, err
	}
	from := min((which-1)*size, len(all))
	return page{
		items:      list(all[from:min(from+size, len(all))]),
		Pagination: Pagination{Page: which, PerPage: size, Total: len(all), TotalPages: (len(all) + size - 1) / size},
	}, nil
}
