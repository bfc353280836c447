// A "Secret text" credential. ID and SECRET are put in.
import com.cloudbees.plugins.credentials.CredentialsScope
import com.cloudbees.plugins.credentials.SystemCredentialsProvider
import hudson.util.Secret
import org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl

def credentials = SystemCredentialsProvider.instance
credentials.credentials.findAll { it.id == ID }.each { credentials.credentials.remove(it) }
credentials.credentials.add(new StringCredentialsImpl(CredentialsScope.GLOBAL, ID, '', Secret.fromString(SECRET)))
credentials.save()
