package api

const noChannel = "There is no channel with this name."

func (m *management) channels(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	all, err := op.Channels(c.r.Context())
	return list(all), err
}

func (m *management) channel(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	ch, err := op.Channel(c.r.Context(), c.param("name"))
	if err != nil {
		return nil, missing(err, noChannel)
	}
	return ch, nil
}

func (m *management) setChannel(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("snapshot", "note", "by")
	if err != nil {
		return nil, err
	}
	ref := body["snapshot"]
	if ref == "" {
		return nil, invalid("The field snapshot must name the sealed snapshot that the channel is to point at.")
	}
	note, by, err := noteAndBy(body)
	if err != nil {
		return nil, err
	}
	ch, err := op.SetChannel(c.r.Context(), c.param("name"), ref, by, note)
	if err != nil {
		return nil, missing(err, noSnapshot)
	}
	c.subject, c.by = ch.Snapshot, by
	return ch, nil
}

func (m *management) rollBackChannel(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	body, err := c.body("note", "by")
	if err != nil {
		return nil, err
	}
	note, by, err := noteAndBy(body)
	if err != nil {
		return nil, err
	}
	ch, err := op.RollBackChannel(c.r.Context(), c.param("name"), by, note)
	if err != nil {
		return nil, missing(err, noChannel)
	}
	c.subject, c.by = ch.Snapshot, by
	return ch, nil
}

// Deleted is the answer to deleting something of which nothing is left to show.
type Deleted struct {
	Name string `json:"name"`
}

func (m *management) deleteChannel(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	if _, err := c.body(); err != nil {
		return nil, err
	}
	name := c.param("name")
	if err := op.DeleteChannel(c.r.Context(), name); err != nil {
		return nil, missing(err, noChannel)
	}
	return Deleted{Name: name}, nil
}

func (m *management) channelHistory(c *call) (any, error) {
	op, err := m.begin(c)
	if err != nil {
		return nil, err
	}
	moves, err := op.ChannelHistory(c.r.Context(), c.param("name"))
	if err != nil {
		return nil, missing(err, noChannel)
	}
	return list(moves), nil
}

// noteAndBy are what people say about a change.
func noteAndBy(body map[string]string) (note, by string, err error) {
	if note, err = plainText(body, "note", maxNote); err != nil {
		return "", "", err
	}
	by, err = plainText(body, "by", maxOwner)
	return note, by, err
}
