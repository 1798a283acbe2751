/**
 * RabbitMQ, one node on loopback, without plugins, its files in the temporary folder.
 * Runs on: the benchmark's main process. Owns: the Erlang port mapper that the node wants beside it.
 *
 * It is killed, not asked to stop: nothing of it is needed again, and asking takes seconds.
 */
import type { Server } from '../../server-process.js'
import { freePort, startNative } from './native.js'

/** Not the wrapper of /usr/sbin, which wants to be the user `rabbitmq`. */
export const RABBITMQ_COMMAND = '/usr/lib/rabbitmq/bin/rabbitmq-server'
const MEMORY_SHARE_MAX = 0.6

export async function startRabbitMq(): Promise<Server> {
  const mapper = await startNative({
    name: 'epmd',
    command: 'epmd',
    files: () => ({}),
    args: ({ host, port }) => ['-address', host, '-port', String(port)],
    stopSignal: 'SIGKILL',
  })
  const distributionPort = await freePort()
  try {
    const server = await startNative({
      name: 'rabbitmq',
      command: RABBITMQ_COMMAND,
      files: ({ host, port }) => ({
        'rabbitmq.conf': [
          `listeners.tcp.1 = ${host}:${port}`,
          `vm_memory_high_watermark.relative = ${MEMORY_SHARE_MAX}`,
          'tcp_listen_options.nodelay = true',
          'log.console.level = error',
          'log.file = false',
        ].join('\n'),
        enabled_plugins: '[].\n',
      }),
      args: () => [],
      env: ({ host, port, folder }) => ({
        HOME: folder, // Erlang's cookie.
        ERL_EPMD_ADDRESS: host,
        ERL_EPMD_PORT: String(mapper.port),
        RABBITMQ_NODENAME: `ringcast-peer-${port}@localhost`,
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(distributionPort),
        RABBITMQ_CONFIG_FILE: `${folder}/rabbitmq.conf`,
        RABBITMQ_ENABLED_PLUGINS_FILE: `${folder}/enabled_plugins`,
        RABBITMQ_MNESIA_BASE: `${folder}/mnesia`,
        RABBITMQ_LOG_BASE: `${folder}/log`,
        RABBITMQ_PID_FILE: `${folder}/pid`,
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
          '-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}',
      }),
      stopSignal: 'SIGKILL',
    })
    const stop = async () => {
      await server.stop()
      await mapper.stop()
    }
    return { ...server, stop }
  } catch (error) {
    await mapper.stop()
    throw error
  }
}
