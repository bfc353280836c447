// Takes away what the tests made in a Jenkins that is not theirs. NAME is put in.
import com.cloudbees.plugins.credentials.SystemCredentialsProvider
import jenkins.model.Jenkins
import org.jenkinsci.plugins.workflow.libs.GlobalLibraries

def jenkins = Jenkins.get()
jenkins.items.findAll { it.name.startsWith(NAME) }.each { it.delete() }
GlobalLibraries.get().libraries = GlobalLibraries.get().libraries.findAll { it.name != NAME }
def credentials = SystemCredentialsProvider.instance
credentials.credentials.findAll { it.id == NAME }.each { credentials.credentials.remove(it) }
credentials.save()
jenkins.nodes.findAll { it.nodeName.startsWith(NAME) }.each { jenkins.removeNode(it) }
