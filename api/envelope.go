package api

import (
	"encoding/json"
	"net/http"
)

// Envelope is the form of every JSON answer below /api/v1: either Data or Error is null. Lists that come in pages say
// which page this is.
type Envelope[T any] struct {
	Data       T           `json:"data"`
	Error      *Problem    `json:"error"`
	Pagination *Pagination `json:"pagination,omitempty"`
}

// Pagination says which part of a list Data is. Pages are counted from 1.
type Pagination struct {
	Page       int `json:"page"`
	PerPage    int `json:"per_page"`
	Total      int `json:"total"`
	TotalPages int `json:"total_pages"`
}

// Problem says what went wrong: a code for programs and a sentence for people.
type Problem struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Code is one of a closed set of error codes.
type Code string

// The error codes and the statuses they come with.
const (
	CodeValidation       Code = "VALIDATION_ERROR"      // 400
	CodeUnauthorized     Code = "UNAUTHORIZED"          // 401
	CodeForbidden        Code = "FORBIDDEN"             // 403
	CodeNotAvailable     Code = "FEATURE_NOT_AVAILABLE" // 403
	CodeNotFound         Code = "NOT_FOUND"             // 404
	CodeMethodNotAllowed Code = "METHOD_NOT_ALLOWED"    // 405
	CodeConflict         Code = "CONFLICT"              // 409
	CodeTooLarge         Code = "PAYLOAD_TOO_LARGE"     // 413
	CodeRateLimited      Code = "RATE_LIMITED"          // 429
	CodeInternal         Code = "INTERNAL_ERROR"        // 500
	CodeUpstream         Code = "UPSTREAM_UNAVAILABLE"  // 502, 503
	CodeUnavailable      Code = "UNAVAILABLE"           // 503
	CodeTimeout          Code = "TIMEOUT"               // 504
	CodeNoSpace          Code = "NO_SPACE"              // 507
)

// writeJSON answers with v. Nothing this package says may be kept by a cache on the way.
func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// The values are plain data, so that what fails here is the connection, and nobody is left to tell.
	_ = enc.Encode(v)
}
