// A node for an inbound agent by WebSocket. NAME, FOLDER and MODE are put in by the tests.
import hudson.model.Node
import hudson.slaves.DumbSlave
import hudson.slaves.JNLPLauncher
import jenkins.model.Jenkins

def launcher = new JNLPLauncher(true)
launcher.webSocket = true
def node = new DumbSlave(NAME, FOLDER, launcher)
node.numExecutors = 4
node.mode = Node.Mode.valueOf(MODE)
Jenkins.get().addNode(node)
