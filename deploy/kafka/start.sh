#!/usr/bin/env bash
# Start a broker in its container from the mounted settings: start.sh server.properties|server-zookeeper.properties
set -euo pipefail
mounted=$(dirname "$0")
kafka=${KAFKA_HOME:-/opt/kafka}
settings=/tmp/$1
cat "$mounted/$1" "$mounted/compose.properties" > "$settings"
if grep -q '^process.roles=' "$settings"; then
  cat "$mounted/compose-kraft.properties" >> "$settings"
  "$kafka/bin/kafka-storage.sh" format --ignore-formatted --cluster-id "$CLUSTER_ID" --config "$settings"
fi
exec "$kafka/bin/kafka-server-start.sh" "$settings"
