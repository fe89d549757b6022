package composer

import "strings"

// RewriteSearchNext points the address of the next page in an answer to a search below base. Any other answer, and one
// without a further page, comes back as it is.
func RewriteSearchNext(body []byte, base string) []byte {
	var o Object
	if o.UnmarshalJSON(body) != nil {
		return body
	}
	_, query, ok := strings.Cut(o.Text("next"), "?")
	if !ok {
		return body
	}
	return o.With("next", quoted(strings.TrimRight(base, "/")+"/search.json?"+query)).append(nil)
}

// Summary is what lists and searches say of a package.
type Summary struct {
	Name        Name
	Type        string // such as library
	Description string
	Abandoned   bool
}
