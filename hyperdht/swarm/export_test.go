package swarm

import "github.com/dhtprom/dhtprom/internal/states/statestest"

// Tables are the tables of states that doc.go lists.
var Tables = []statestest.Listed{statestest.Of(lifeTable), statestest.Of(topicTable), statestest.Of(peerTable)}
