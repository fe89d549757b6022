package api

import (
	_ "embed"
	"net/http"
)

// openAPIPath is public: it describes the program, not this installation of it.
const openAPIPath = "/api/v1/openapi.json"

//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(openAPI) // what fails here is the connection
}
